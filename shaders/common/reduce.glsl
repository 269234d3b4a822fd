// Sum and maximum over a workgroup of 2^n invocations; every invocation gets the result. All
// invocations must call these together. With SUBGROUP defined the first level is a subgroup
// operation; without, a tree in shared memory. REDUCE_TYPE may be vec4: four reductions at once.
#ifndef REDUCE_TYPE
#define REDUCE_TYPE float
#endif
shared REDUCE_TYPE reduce_cells[LOCAL_SIZE];

#ifdef SUBGROUP
#define REDUCE(name, combine, subgroup_combine)                            \
  REDUCE_TYPE name(REDUCE_TYPE value) {                                    \
    REDUCE_TYPE part = subgroup_combine(value);                                  \
    if (subgroupElect()) reduce_cells[gl_SubgroupID] = part;               \
    barrier();                                                             \
    REDUCE_TYPE total = reduce_cells[0];                                         \
    for (uint i = 1u; i < gl_NumSubgroups; ++i) total = combine(total, reduce_cells[i]); \
    barrier();                                                             \
    return total;                                                          \
  }
#else
#define REDUCE(name, combine, subgroup_combine)                            \
  REDUCE_TYPE name(REDUCE_TYPE value) {                                          \
    uint lane = gl_LocalInvocationIndex;                                   \
    reduce_cells[lane] = value;                                            \
    barrier();                                                             \
    for (uint step = LOCAL_SIZE >> 1; step > 0u; step >>= 1) {     \
      if (lane < step) reduce_cells[lane] = combine(reduce_cells[lane], reduce_cells[lane + step]); \
      barrier();                                                           \
    }                                                                      \
    REDUCE_TYPE total = reduce_cells[0];                                         \
    barrier();                                                             \
    return total;                                                          \
  }
#endif
REDUCE_TYPE combine_sum(REDUCE_TYPE a, REDUCE_TYPE b) { return a + b; }
REDUCE(workgroup_sum, combine_sum, subgroupAdd)
REDUCE(workgroup_max, max, subgroupMax)
