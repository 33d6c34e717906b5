//! The pure layer of the tests: what the operator decides, stores and tells, as functions of plain values. No cluster,
//! no server, no clock: every time is written down. I1 to I9 are the invariants of the crate's documentation.
//!
//! | file | tells |
//! |---|---|
//! | [`scenes`], [`arbitrary`] | how a test sets up what was seen, and lets a connection live |
//! | [`answers`] | what each answer of the server means |
//! | [`failures`] | what follows from each row of the table of failures |
//! | [`commits`] | how a pair is stored, also when somebody else was there first |
//! | [`turns`], [`claims`] | what is done next, and when |
//! | [`adoptions`] | how a new consent comes in, and how its Secret is tidied |
//! | [`consents`] | which consent is the newest, and what a backup cannot make us forget |
//! | [`links`] | how a human consents in a browser, and what a code buys |
//! | [`clients`] | whose a token is, and that nobody else presents it |
//! | [`repairs`] | what if another program insists on what it writes |
//! | [`wishes`], [`fine_print`] | what a spec may say, and what the rules say to the letter |
//! | [`reasons`] | what the user is told: every reason and its way back |
//! | [`warnings`] | what people are told before it is too late, and what could be an attack |
//! | [`restarts`] | which workloads are restarted, and what pods are told |
//! | [`format_1`] | how a ledger of an older operator is read |
//! | [`codecs`] | how grants and tokens stand in their Secrets |
//! | [`schedules`], [`properties`], [`walks`] | what holds for whatever was seen, and for any course of events |
//! | [`house`], [`crd`], [`pages`] | how the source is laid out; that the checked-in CRD and the tables of the pages are the program's |

mod adoptions;
mod answers;
mod arbitrary;
mod claims;
mod clients;
mod codecs;
mod commits;
mod consents;
mod crd;
mod failures;
mod fine_print;
mod format_1;
mod house;
mod links;
mod pages;
mod properties;
mod reasons;
mod repairs;
mod restarts;
mod scenes;
mod schedules;
mod turns;
mod walks;
mod warnings;
mod wishes;
