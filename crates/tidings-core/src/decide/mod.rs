//! The decision: facts, policy and the present instant in; a verdict with every rule's reason out.

pub mod facts;
pub mod policy;
pub mod verdict;

pub use facts::Facts;
pub use policy::Policy;
pub use verdict::{Decision, GateVerdict, Plan, Reason, ReasonCode, Rule, RuleVerdict, StopScope, Verdict};
