// matrix_units: what matrix units read and write of a tile, in workgroup memory. Constants: UNIT_ROWS, UNIT_KEYS, UNIT_DEPTH, SUBGROUP.
const HEAD_DIM = 4u * HEAD_DIM4;
var<workgroup> queryElements: array<Element, ROWS * HEAD_DIM>;
var<workgroup> keyElements: array<Element, KEYS * HEAD_DIM>;
var<workgroup> tileProducts: array<f32, ROWS * KEYS>;
