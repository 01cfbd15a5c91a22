//! Takes identity and secrets out of a machine, and proves on the captured bytes that they are out.
