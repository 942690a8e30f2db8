//! HTTP/1.1 on bare sockets: no library lets a server answer the way a broken one does.

mod act;
mod read;
mod reply;

pub(crate) use act::{Manner, write};
pub(crate) use read::{ReadError, Request, read};
pub(crate) use reply::Reply;
