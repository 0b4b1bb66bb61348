//! lockstep-shard
