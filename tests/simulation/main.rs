//! Simulations of the operator: the real code, a simulated world, paused time.

mod apiserver;
