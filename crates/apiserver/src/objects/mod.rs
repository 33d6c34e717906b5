//! The objects and what can be done with them.
//!
//! | file | |
//! |---|---|
//! | `store` | the objects, their versions and their history |
//! | `write`, `delete` | how objects come, change and go |
//! | `object`, `validate` | parts of an object; what is taken and what is not |
//! | `managed` | who wrote the data of a Secret |

mod delete;
mod managed;
mod object;
pub mod store;
mod validate;
mod write;
