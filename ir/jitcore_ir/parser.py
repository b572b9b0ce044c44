"""Text form to graphs: recursive descent, one function per rule of the grammar in docs/ir.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NoReturn, TypeVar

from . import shapes
from .dense import DenseText, build_dense, parse_float
from .dtypes import ALL, DType, dtype_named
from .errors import AttributeValueError, DTypeError, ShapeError, VerificationError
from .graph import Block, Graph, Operation, Region, Value, create_operation
from .lexer import Token, error_at, tokenize
from .location import UNKNOWN, Location
from .spec import OPS, Kind, OpSpec, Trait
from .types import BufferType, TensorType, Type

T = TypeVar("T")
Dim = int | shapes.Expr
_SHORT = {d.short for d in ALL}
_ENDS = "the text ends here, but a graph is one `graph @name(...) { ... }`"


def parse_graph(text: str) -> Graph:
    """The graph that `print_graph` wrote as `text`. Raises ParseError with line and column.

    Operations below the graph level (`for`, `load` ...) are known once the module that defines them is imported.
    """
    parser = _Parser(text)
    try:
        return parser.graph()
    except RecursionError:
        raise error_at(text, parser.peek().position, "this is nested too deeply") from None


def parse_dim(text: str) -> Dim:
    """The dim that `str` of it gives, such as `2*N + 1`. Raises ParseError."""
    parser = _Parser(text)
    found = parser.dim()
    parser.kind("end", "the end")
    return found


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens = tokenize(source)
        self.next = 0
        self.values: dict[str, Value] = {}  # visible here, by their text
        self.defined: set[str] = set()  # anywhere

    # Structure

    def graph(self) -> Graph:
        self.word("graph")
        self.mark("@")
        graph = Graph(self.symbol_name())
        self.arguments(graph.block)
        self.mark("{")
        self.body(graph.block)
        if self.peek().kind != "end":
            self.fail(f"expected {_ENDS}")
        return graph

    def arguments(self, block: Block) -> None:
        self.mark("(")
        for _ in self.items(")"):
            token = self.kind("value", "an argument such as %x: f32[2,3]")
            self.mark(":")
            self.define(token, block.add_argument(self.type(), _value_name(token.text)))

    def body(self, block: Block) -> None:
        """Operations up to the closing brace."""
        while not self.accept("}"):
            if self.peek().kind == "end":
                self.fail("a '}' is missing")
            self.operation(block)

    def operation(self, block: Block) -> None:
        names: list[Token] = []
        while self.peek().kind == "value":
            names.append(self.advance())
            if not self.accept(","):
                self.mark("=")
                break
        start = self.kind("word", "an operation such as `%2 = add(%0, %1) : f32[3]`")
        spec = self.spec(start)
        operands = self.operands()
        given = self.attributes(spec) if self.opens_attributes() else {}
        types = self.types() if self.accept(":") else []
        location = self.location() if self.accept("@") else UNKNOWN
        attributes = self.finish_attributes(spec, given, types, start)
        regions = [self.region(spec) for _ in range(spec.regions)]
        operation = self.checked(start, lambda: create_operation(spec, operands, attributes, location, regions))
        self.check_results(operation, names, types, start)
        operation.block = block
        block.operations.append(operation)
        for token, value in zip(names, operation.results, strict=True):
            value.name = _value_name(token.text)
            self.define(token, value)

    def spec(self, token: Token) -> OpSpec:
        found = OPS.get(token.text)
        if found is None:
            self.fail(f"unknown operation {token.text!r}{_suggest(token.text, OPS)}", token)
        return found

    def operands(self) -> list[Value]:
        self.mark("(")
        found = []
        for _ in self.items(")"):
            token = self.kind("value", "an operand such as %x")
            if token.text not in self.values:
                known = "is not visible here" if token.text in self.defined else "is not defined before this line"
                self.fail(f"{token.text} {known}{_suggest(token.text, self.values)}", token)
            found.append(self.values[token.text])
        return found

    def types(self) -> list[Type]:
        found = [self.type()]
        while self.accept(","):
            found.append(self.type())
        return found

    def location(self) -> Location:
        file = self.string()
        self.mark(":")
        return Location(file, self.integer())

    def region(self, spec: OpSpec) -> Region:
        region = Region()
        for mark in "{^":
            self.mark(mark)
        visible = dict(self.values)
        if spec.has(Trait.CLOSED):
            self.values = {}
        self.arguments(region.block)
        self.mark(":")
        self.body(region.block)
        self.values = visible
        return region

    def check_results(self, operation: Operation, names: list[Token], types: list[Type], start: Token) -> None:
        inferred = [v.type for v in operation.results]
        if len(names) != len(inferred):
            self.fail(f"{operation.spec.name} has {len(inferred)} results, but {len(names)} are named", start)
        if types != inferred:
            said, real = (", ".join(map(str, t)) or "no type" for t in (types, inferred))
            self.fail(f"{operation.spec.name} of these operands has type {real}, but the text says {said}", start)

    def define(self, token: Token, value: Value) -> None:
        if token.text in self.defined:
            self.fail(
                f"{token.text} is defined twice; a second value of the name is {token.text.split('#')[0]}#1", token
            )
        self.defined.add(token.text)
        self.values[token.text] = value

    # Attributes

    def opens_attributes(self) -> bool:
        """A brace here opens attributes, unless it opens a region."""
        return self.peek().text == "{" and self.tokens[self.next + 1].text != "^"

    def attributes(self, spec: OpSpec) -> dict[str, tuple[Any, TensorType | None, Token]]:
        """Each attribute's value, the type written before an array, and where it stands."""
        self.mark("{")
        found: dict[str, tuple[Any, TensorType | None, Token]] = {}
        for _ in self.items("}"):
            name = self.kind("word", "an attribute such as axis = 1")
            if name.text not in spec.attributes or name.text in found:
                allowed = ", ".join(spec.attributes) or "none"
                problem = "is given twice" if name.text in found else "is unknown"
                self.fail(f"attribute {name.text!r} of {spec.name} {problem}; it has {allowed}", name)
            self.mark("=")
            kind, start = spec.attributes[name.text], self.peek()
            type = self.tensor_type() if kind is Kind.DENSE and start.text in _SHORT else None
            found[name.text] = (_READERS[kind](self), type, start)
        return found

    def finish_attributes(self, spec: OpSpec, given: dict, types: list[Type], start: Token) -> dict[str, Any]:
        """Attribute values in the spec's order; arrays are built now that their type is known."""
        missing = [name for name in spec.attributes if name not in given]
        if missing:
            self.fail(f"{spec.name} lacks its attribute{'s' * (len(missing) > 1)} {', '.join(missing)}", start)
        attributes = {}
        for name in spec.attributes:
            value, type, where = given[name]
            if isinstance(value, DenseText):
                if type is None and len(types) == 1 and isinstance(types[0], TensorType):
                    type = types[0]
                if type is None:
                    self.fail("an array needs its type before it, as in f32[2] [1.0, 2.0]", where)
                value = self.checked(where, partial(build_dense, value, type))
            attributes[name] = value
        return attributes

    def dense(self) -> DenseText:
        form = self.peek().text
        if form not in ("splat", "base64", "elided"):
            return DenseText("nested", self.nested())
        self.advance()
        if form == "splat":
            return DenseText(form, self.nested())
        return DenseText(form, self.string() if form == "base64" else self.integer())

    def nested(self) -> Any:
        if self.accept("["):
            return [self.nested() for _ in self.items("]")]
        if self.accept("("):
            real = self.number()
            self.mark(",")
            pair = (real, self.number())
            self.mark(")")
            return pair
        return self.number()

    def number(self) -> str:
        sign = "-" if self.accept("-") else ""
        token = self.advance()
        if token.kind != "number" and token.text not in ("inf", "nan", "true", "false"):
            self.fail("expected a number", token)
        return sign + token.text

    def integer(self) -> int:
        token, text = self.peek(), self.number()
        try:
            return int(text)
        except ValueError:
            self.fail(f"{text} is not an integer", token)

    def float(self) -> float:
        token, text = self.peek(), self.number()
        return self.checked(token, lambda: parse_float(text))

    def boolean(self) -> bool:
        token = self.advance()
        if token.text not in ("true", "false"):
            self.fail("expected true or false", token)
        return token.text == "true"

    def string(self) -> str:
        token = self.kind("string", "a string in double quotes")
        return self.checked(token, lambda: json.loads(token.text))

    def pair(self) -> tuple[int, int]:
        self.mark("(")
        low = self.integer()
        self.mark(",")
        high = self.integer()
        self.mark(")")
        return low, high

    def listed(self, item: Callable[[], T]) -> tuple[T, ...]:
        self.mark("[")
        return tuple(item() for _ in self.items("]"))

    # Types and dimensions

    def type(self) -> Type:
        if self.peek().text != "buffer":
            return self.tensor_type()
        self.advance()
        self.mark("<")
        inner = self.tensor_type()
        self.mark(">")
        return BufferType(inner.dtype, inner.shape)

    def tensor_type(self) -> TensorType:
        return TensorType(self.dtype(), self.listed(self.dim))

    def dtype(self) -> DType:
        token = self.advance()
        if token.text not in _SHORT:
            self.fail(f"expected a dtype ({', '.join(d.short for d in ALL)})", token)
        return dtype_named(token.text)

    def dim(self) -> Dim:
        """A sum of products."""
        total = self.dim_product(-1 if self.accept("-") else 1)
        while self.peek().text in ("+", "-"):
            total = shapes.add(total, self.dim_product(1 if self.advance().text == "+" else -1))
        return total

    def dim_product(self, sign: int) -> Dim:
        result = shapes.mul(sign, self.dim_atom())
        while self.accept("*"):
            result = shapes.mul(result, self.dim_atom())
        return result

    def dim_atom(self) -> Dim:
        token = self.peek()
        if token.kind == "number":
            return self.integer()
        if self.accept("("):
            return self.dim_quotient()
        name = self.kind("word", "a dimension such as 3 or N or 2*N + 1").text
        if name not in ("max", "min"):
            return self.checked(token, lambda: shapes.symbol(name))
        self.mark("(")
        left = self.dim()
        self.mark(",")
        right = self.dim()
        self.mark(")")
        return shapes.maximum(left, right) if name == "max" else shapes.minimum(left, right)

    def dim_quotient(self) -> Dim:
        """What stands in parentheses: a dimension, or one divided by another."""
        left = self.dim()
        token = self.peek()
        if token.text in ("//", "%"):
            self.advance()
            right, divide = self.dim(), shapes.floordiv if token.text == "//" else shapes.mod
            left = self.checked(token, lambda: divide(left, right))
        self.mark(")")
        return left

    # Tokens

    def peek(self) -> Token:
        return self.tokens[self.next]

    def advance(self) -> Token:
        token = self.tokens[self.next]
        self.next = min(self.next + 1, len(self.tokens) - 1)
        return token

    def accept(self, mark: str) -> bool:
        token = self.peek()
        found = token.kind == "mark" and token.text == mark
        if found:
            self.advance()
        return found

    def mark(self, mark: str) -> None:
        if not self.accept(mark):
            self.fail(f"expected {mark!r}")

    def word(self, word: str) -> None:
        if self.peek().text != word:
            self.fail(f"expected {word!r}")
        self.advance()

    def kind(self, kind: str, expected: str) -> Token:
        if self.peek().kind != kind:
            self.fail(f"expected {expected}")
        return self.advance()

    def items(self, end: str) -> Iterable[None]:
        """Once per item of a comma-separated list; takes the closing mark."""
        if self.accept(end):
            return
        while True:
            yield None
            if self.accept(end):
                return
            self.mark(",")

    def symbol_name(self) -> str:
        return self.string() if self.peek().kind == "string" else self.kind("word", "a name").text

    def checked(self, where: Token, build: Callable[[], T]) -> T:
        """`build()`, whose complaints become ParseErrors at `where`."""
        try:
            return build()
        except (ShapeError, DTypeError, AttributeValueError, VerificationError, ValueError, TypeError) as error:
            raise error_at(self.source, where.position, str(error)) from error

    def fail(self, message: str, token: Token | None = None) -> NoReturn:
        token = token or self.peek()
        found = f", found {token}" if message.startswith("expected") else ""
        raise error_at(self.source, token.position, message + found)


def _value_name(text: str) -> str:
    """The name in `%x#1`, `%"a b"` or `%3` (none)."""
    text = text[1:].rsplit('"#', 1)[0] + '"' if text.startswith('%"') and not text.endswith('"') else text[1:]
    if text.startswith('"'):
        return json.loads(text)
    text = text.split("#")[0]
    return "" if text.isdecimal() else text


def _suggest(name: str, known: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, list(known))
    return f"; did you mean {' or '.join(close)}?" if close else ""


_READERS: dict[Kind, Callable[[_Parser], Any]] = {
    Kind.INT: _Parser.integer,
    Kind.FLOAT: _Parser.float,
    Kind.BOOL: _Parser.boolean,
    Kind.STRING: _Parser.string,
    Kind.DTYPE: _Parser.dtype,
    Kind.DIM: _Parser.dim,
    Kind.INTS: lambda parser: parser.listed(parser.integer),
    Kind.DIMS: lambda parser: parser.listed(parser.dim),
    Kind.PAIRS: lambda parser: parser.listed(parser.pair),
    Kind.DENSE: _Parser.dense,
}
