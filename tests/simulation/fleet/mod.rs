//! Many connections: what happens to one of them says something about the server, and so about the others.

mod bad_days;
mod order;
