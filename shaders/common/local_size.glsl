// The workgroup's size, constant 0 of every kernel. Included before anything that declares shared
// arrays: an array sized by gl_WorkGroupSize before the layout below is known gets one element.
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_SIZE = 1u;
