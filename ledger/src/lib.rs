//! lockstep-ledger
