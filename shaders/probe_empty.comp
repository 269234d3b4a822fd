#version 450
// Does nothing: what a dispatch itself costs.
layout(local_size_x_id = 0) in;
void main() {}
