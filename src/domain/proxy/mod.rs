//! The rules of the proxy: whether a request to the API is sent, waits or is answered here, and what a 401 means.
//!
//! | file | answers |
//! |---|---|
//! | [`gate`] | may a request leave now, and with which token? |
//! | [`step`] | what can it say? |
//! | [`due`] | has the token's planned refresh come, or its end? |
//! | [`health`] | what is believed of the token, and when is a rejected one tried? |
//! | [`evidence`] | does a 401 mean that the token is rejected, or is it one endpoint's own? |
//! | [`call`] | what is known of one request to the API |

pub mod call;
pub mod due;
pub mod evidence;
pub mod gate;
pub mod health;
pub mod step;
