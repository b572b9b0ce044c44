"""The .jca archive: `archive` (what is in one), `reader` (read_archive), `writer` (write_archive).

Reading needs NumPy and the IR only; the writer alone imports flatbuffers and the code flatc generated.
"""
