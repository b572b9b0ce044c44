"""A DCGAN pair: two networks, two optimizers, spectral norm on the critic's last layer, detached fakes."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.parallel
import torch.optim as optim

nz, ngf, ndf, nc = 6, 4, 4, 3


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Conv") != -1 and hasattr(m, "weight"):
        nn.init.normal_(m.weight.data, 0.0, 0.02)
    elif classname.find("BatchNorm") != -1:
        nn.init.normal_(m.weight.data, 1.0, 0.02)
        nn.init.constant_(m.bias.data, 0)


class Generator(nn.Module):
    def __init__(self):
        super(Generator, self).__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 2, 4, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf, nc, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, input):
        return self.main(input)


class Discriminator(nn.Module):
    def __init__(self):
        super(Discriminator, self).__init__()
        self.main = nn.Sequential(
            nn.Conv2d(nc, ndf, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 2, 1, 4, 1, 0, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, input):
        return self.main(input).view(-1, 1).squeeze(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.netG, self.netD = Generator(), Discriminator()
        self.netG.apply(weights_init)
        self.netD.apply(weights_init)


def build():
    return Net()


def batch(i):
    random = np.random.default_rng(i)
    kind = torch.get_default_dtype()
    return (
        torch.tensor(random.normal(size=(4, nc, 16, 16))).type(kind),
        torch.tensor(random.normal(size=(4, nz, 1, 1))).type(kind),
    )


def optimizer(model):
    return (
        optim.Adam(model.netD.parameters(), lr=0.002, betas=(0.5, 0.999)),
        optim.Adam(model.netG.parameters(), lr=0.002, betas=(0.5, 0.999)),
    )


def step(model, opts, real, noise):
    optimizerD, optimizerG = opts
    netD, netG, criterion = model.netD, model.netG, nn.BCELoss()
    netD.zero_grad()
    label = torch.full((real.size(0),), 1, dtype=real.dtype, device=real.device)
    errD_real = criterion(netD(real), label)
    errD_real.backward()
    fake = netG(noise)
    label.fill_(0)
    errD_fake = criterion(netD(fake.detach()), label)
    errD_fake.backward()
    optimizerD.step()
    netG.zero_grad()
    label.fill_(1)
    errG = criterion(netD(fake), label)
    errG.backward()
    optimizerG.step()
    return errD_real + errD_fake + 2 * errG


def evaluate(model):
    model.eval()
    images = model.netG(batch(100)[1])
    return images, model.netD(images)
