//! The servers library itself: what it starts, what its faults do, and that nothing stays behind.

mod faults;
