//! `pleo-operator proxy`: runs beside an application and forwards its calls to the API with the current token. While the token is
//! refreshed, calls wait; the application never has the token, and no call of it is rejected because of a rotation.
//!
//! | file | does |
//! |---|---|
//! | [`run`] | starts all of it, and drains |
//! | [`server`] | accepts connections, with limits |
//! | [`forward`] | takes one call from its request to its response |
//! | [`keeper`] | holds the rules' state ([`crate::domain::proxy`]), and looks at the token folder when a call depends on it |
//! | [`folder`] | reads the token folder |
//! | [`rules`] | which requests are rejected, and which headers are forwarded |
//! | [`body`] | bodies that are kept to be sent again, and those that are not |
//! | [`upstream`] | sends to the API |
//! | [`problem`] | what the proxy answers itself |
//! | [`metrics`] | what is counted |
//! | [`config`] | the settings |

pub mod body;
pub mod config;
pub mod folder;
pub mod forward;
pub mod keeper;
pub mod metrics;
pub mod problem;
pub mod rules;
pub mod run;
pub mod server;
pub mod upstream;
