// Twin of runtime/kernels/step_record.h. RECORD_ACCESS is readonly, or empty for kernels that
// advance the record.
#ifndef RECORD_ACCESS
#define RECORD_ACCESS readonly
#endif
layout(std430, binding = 0) RECORD_ACCESS buffer StepRecord {
  uint past;
  uint tokens;
  uint target;
  uint chunk;
  uint head_row;
  uint step;
  uint ring_size;
  uint top_k;
  float temperature;
  float top_p;
  uint seed_low;
  uint seed_high;
  uint reserved[4];
} record;
