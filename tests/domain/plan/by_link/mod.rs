//! Authorizations by link: links, and the codes that they bring.

pub mod codes;
pub mod links;
