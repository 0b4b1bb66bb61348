//! lockstep-sim
