//! What was reported about deliveries, and what contacts wrote back. Webhooks are stored when they are verified and
//! applied by a job; applying is idempotent and indifferent to order. Feedback that is asked for goes the same way.

pub mod inbound;
pub mod inbox;
pub mod listed;
pub mod moves;
pub mod reports;
pub mod turns;
pub mod unreported;
