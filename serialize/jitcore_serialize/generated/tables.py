"""The schema as data, made from schema/archive.fbs by schema/regenerate.py.

`TABLES[name]` is the table's fields in the order of their vtable slots, each (name, type, default): a scalar's type is
its struct code, "string", "[x]" is a vector of x, any other name is an enum or a table. `ENUMS[name]` is its names.
"""

TABLES: dict[str, tuple[tuple[str, str, int], ...]] = {
    'Provenance': (
        ('version', 'string', 0),
        ('producer', 'string', 0),
        ('source', 'string', 0),
    ),
    'Segment': (
        ('kind', 'SegmentKind', 0),
        ('offset', 'Q', 0),
        ('size', 'Q', 0),
        ('crc32', 'I', 0),
        ('sha256', '[B]', 0),
    ),
    'Array': (
        ('dtype', 'DType', 0),
        ('shape', '[q]', 0),
        ('data', '[B]', 0),
        ('segment', 'i', -1),
    ),
    'Weight': (
        ('name', 'string', 0),
        ('array', 'I', 0),
    ),
    'ValueType': (
        ('dtype', 'DType', 0),
        ('shape', '[q]', 0),
    ),
    'Expression': (
        ('code', '[q]', 0),
    ),
    'AttributeSpec': (
        ('name', 'string', 0),
        ('kind', 'Kind', 0),
    ),
    'Operator': (
        ('name', 'string', 0),
        ('version', 'I', 0),
        ('attributes', '[AttributeSpec]', 0),
    ),
    'Attribute': (
        ('values', '[q]', 0),
        ('text', 'string', 0),
    ),
    'Operation': (
        ('operator', 'I', 0),
        ('operands', '[I]', 0),
        ('results', '[I]', 0),
        ('names', '[string]', 0),
        ('attributes', '[Attribute]', 0),
        ('regions', '[Block]', 0),
        ('file', 'I', 0),
        ('line', 'I', 0),
    ),
    'Block': (
        ('arguments', '[I]', 0),
        ('names', '[string]', 0),
        ('operations', '[Operation]', 0),
    ),
    'Structure': (
        ('kind', 'StructureKind', 0),
        ('result', 'I', 0),
        ('keys', '[string]', 0),
        ('items', '[Structure]', 0),
    ),
    'Guard': (
        ('output', 'I', 0),
        ('kind', 'Kind', 0),
        ('expected', 'Attribute', 0),
    ),
    'SymbolRange': (
        ('symbol', 'I', 0),
        ('minimum', 'q', 0),
        ('maximum', 'q', 9223372036854775807),
    ),
    'Buffer': (
        ('kind', 'BufferKind', 0),
        ('dtype', 'DType', 0),
        ('shape', '[q]', 0),
        ('index', 'I', 0),
        ('array', 'i', -1),
    ),
    'CallOut': (
        ('operation', 'I', 0),
        ('operands', '[I]', 0),
        ('result', 'I', 0),
    ),
    'Plan': (
        ('buffers', '[Buffer]', 0),
        ('symbols', '[I]', 0),
        ('slots', '[q]', 0),
        ('aliases', '[I]', 0),
        ('prepared_from', '[I]', 0),
        ('call_outs', '[CallOut]', 0),
    ),
    'ImageSymbol': (
        ('name', 'string', 0),
        ('offset', 'Q', 0),
    ),
    'Image': (
        ('target', 'string', 0),
        ('segment', 'I', 0),
        ('text_size', 'Q', 0),
        ('rodata_size', 'Q', 0),
        ('data_size', 'Q', 0),
        ('exports', '[ImageSymbol]', 0),
        ('imports', '[ImageSymbol]', 0),
        ('features', '[string]', 0),
        ('abi', 'I', 0),
    ),
    'Code': (
        ('plan', 'Plan', 0),
        ('image', 'I', 0),
        ('operations', '[string]', 0),
    ),
    'Launch': (
        ('kernel', 'string', 0),
        ('grid', '[q]', 0),
        ('block', '[I]', 0),
        ('shared_bytes', 'q', 0),
        ('buffers', '[I]', 0),
        ('scalars', '[q]', 0),
    ),
    'DeviceCode': (
        ('target', 'string', 0),
        ('segment', 'I', 0),
        ('plan', 'Plan', 0),
        ('launches', '[Launch]', 0),
    ),
    'Entry': (
        ('name', 'string', 0),
        ('graph_name', 'string', 0),
        ('block', 'Block', 0),
        ('weights', '[i]', 0),
        ('outputs', '[string]', 0),
        ('structure', 'Structure', 0),
        ('updates', '[I]', 0),
        ('guards', '[Guard]', 0),
        ('ranges', '[SymbolRange]', 0),
        ('code', '[Code]', 0),
        ('device_code', '[DeviceCode]', 0),
        ('exact', 'B', 0),
    ),
    'Metadata': (
        ('provenance', 'Provenance', 0),
        ('segments', '[Segment]', 0),
        ('symbols', '[string]', 0),
        ('expressions', '[Expression]', 0),
        ('types', '[ValueType]', 0),
        ('files', '[string]', 0),
        ('operators', '[Operator]', 0),
        ('arrays', '[Array]', 0),
        ('weights', '[Weight]', 0),
        ('images', '[Image]', 0),
        ('pools', '[I]', 0),
        ('entries', '[Entry]', 0),
    ),
}

ENUMS: dict[str, tuple[str, ...]] = {
    'DType': ('bool_', 'uint8', 'int8', 'int16', 'int32', 'int64', 'float16', 'bfloat16', 'float32', 'float64', 'complex64', 'complex128'),
    'Kind': ('int_', 'float_', 'bool_', 'string', 'dtype', 'dim', 'ints', 'dims', 'pairs', 'dense'),
    'SegmentKind': ('elements', 'image', 'module'),
    'BufferKind': ('input', 'output', 'temporary', 'constant', 'prepared', 'function'),
    'StructureKind': ('result', 'none', 'tuple', 'list', 'dict'),
}
