//! What was reported about deliveries, and what contacts wrote back. Webhooks are stored when they are verified and
//! applied by a job; applying is idempotent and indifferent to order.

pub mod inbound;
pub mod inbox;
pub mod reports;
