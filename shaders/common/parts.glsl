// Decode attention over a long context: its positions are cut into PARTS, each of which leaves the
// highest score, the sum of exponentials and the weighted sum of values of every head behind, and
// attention_combine puts them together. Grids are recorded once, so parts follow from the record.
layout(constant_id = 10) const uint PARTS = 1u;

const uint kPartTile = 64u;  // parts hold a multiple of so many positions

// Positions of a part when `seen` of them are attended to; parts behind the last position are empty.
uint part_span(uint seen) {
  uint tiles = (seen + kPartTile - 1u) / kPartTile;
  return (tiles + PARTS - 1u) / PARTS * kPartTile;
}

// Word of the partial results where those of a head begin: HEAD_DIM sums, the highest, the total.
uint part_base(uint part, uint heads, uint head, uint head_dim) {
  return (part * heads + head) * (head_dim + 2u);
}
