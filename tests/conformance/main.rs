//! Is the in-memory API server, on which all simulations stand, like the real one?
//!
//! Each rule is a story of requests, played on both servers at the same time. What both answer is written down, and the
//! two transcripts must be the same, step by step: codes, reasons, whole bodies, events of watches. Beside that each
//! step says what the answer is to be, so that two servers that are wrong in the same way do not pass.
//!
//! | folder | |
//! |---|---|
//! | `support` | the two servers, what they answered, how that is compared, sample objects |
//! | `writes` | how objects come, change and go, and what no server takes |
//! | `reads` | how objects are found and followed, also by two clients at the same time |
//! | `operator` | the operator's own calls and watches, as it makes them |
//!
//! What the in-memory server does not have, because nothing of the operator's depends on it, stands in its own header.

use pleo_apiserver as apiserver;

mod operator;
mod reads;
mod support;
mod writes;
