//! Answers that never come, drip, or break off: at every point, in every way in which a connection can end.

use rustls::version::TLS13;

use crate::{
    attacks,
    connections::certificates::Tls,
    support::{
        hunt::PAIR,
        server::{Script, reply},
        siege::{Attack, BROKEN, NO_TOKEN, Pair, TOO_LATE, says, says_and_closes},
    },
};

const HALF_A_BODY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"access_token\":\"acc";

/// The server sends these bytes, and the socket ends without a word from TLS.
fn says_and_cuts(bytes: impl AsRef<[u8]> + Send + 'static) -> Attack {
    Attack::after_request(async move |wire| {
        wire.say(bytes).await?;
        wire.cut().await
    })
}

/// The server sends these bytes, and resets the connection.
fn says_and_resets(bytes: impl AsRef<[u8]> + Send + 'static) -> Attack {
    Attack::after_request(async move |wire| {
        wire.say(bytes).await?;
        wire.reset()
    })
}

/// The server answers before the client can have asked.
fn speaks_first(words: Vec<u8>) -> Attack {
    let tls = Tls { versions: vec![&TLS13], ..Tls::new() };
    Attack::by(Script::early(tls, words, async |_| Ok(()))).before_request()
}

fn drips(begin: &'static str, drops: Vec<u8>) -> Attack {
    Attack::after_request(async move |wire| {
        wire.say(begin).await?;
        wire.drip(drops).await
    })
}

attacks! {
    a_server_that_never_answers_is_given_up: says("").impatient() => TOO_LATE;
    a_server_that_stops_in_its_status_line_is_given_up: says("HTTP/1.1 2").impatient() => TOO_LATE;
    a_server_that_stops_in_its_headers_is_given_up: says("HTTP/1.1 200 OK\r\ncontent-").impatient() => TOO_LATE;
    a_server_that_stops_in_its_body_is_given_up: says(HALF_A_BODY).impatient() => TOO_LATE;
    headers_that_drip_do_not_put_the_end_off:
        drips("HTTP/1.1 200 OK\r\nx: ", vec![b'y'; 10_000]).impatient()
        => TOO_LATE;
    a_body_that_drips_does_not_put_the_end_off:
        drips("HTTP/1.1 200 OK\r\n\r\n", vec![b' '; 10_000]).impatient()
        => TOO_LATE;
    a_pair_that_drips_in_time_is_taken: drips("", reply("200 OK", "", PAIR)) => Pair;

    a_farewell_instead_of_an_answer_leaves_doubt: says_and_closes("") => BROKEN;
    a_cut_before_the_answer_leaves_doubt: says_and_cuts("") => BROKEN;
    a_reset_before_the_answer_leaves_doubt: says_and_resets("") => BROKEN;
    a_farewell_in_the_status_line_leaves_doubt: says_and_closes("HTTP/1.1 2") => BROKEN;
    a_cut_in_the_status_line_leaves_doubt: says_and_cuts("HTTP/1.1 2") => BROKEN;
    a_reset_in_the_status_line_leaves_doubt: says_and_resets("HTTP/1.1 2") => BROKEN;
    a_farewell_in_the_headers_leaves_doubt: says_and_closes("HTTP/1.1 200 OK\r\ncontent-") => BROKEN;
    a_cut_in_the_headers_leaves_doubt: says_and_cuts("HTTP/1.1 200 OK\r\ncontent-") => BROKEN;
    a_reset_in_the_headers_leaves_doubt: says_and_resets("HTTP/1.1 200 OK\r\ncontent-") => BROKEN;
    a_farewell_in_the_body_leaves_doubt: says_and_closes(HALF_A_BODY) => BROKEN;
    a_cut_in_the_body_leaves_doubt: says_and_cuts(HALF_A_BODY) => BROKEN;
    a_reset_in_the_body_leaves_doubt: says_and_resets(HALF_A_BODY) => BROKEN;
    a_farewell_in_a_chunk_leaves_doubt:
        says_and_closes("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n99\r\n{\"access_token\"")
        => BROKEN;
    a_body_without_a_length_that_ends_in_half_is_no_pair:
        says_and_closes("HTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"acc")
        => NO_TOKEN;
    a_refusal_that_breaks_off_is_not_believed:
        says_and_cuts("HTTP/1.1 400 Bad Request\r\ncontent-length: 26\r\n\r\n{\"error\":\"invalid_grant\"}")
        => BROKEN;
    a_refusal_that_may_go_on_is_not_believed:
        says_and_cuts("HTTP/1.1 400 Bad Request\r\n\r\n{\"error\":\"invalid_grant\"}")
        => BROKEN;

    a_pair_is_taken_with_a_farewell: says_and_closes(reply("200 OK", "", PAIR)) => Pair;
    a_pair_is_taken_without_a_farewell: says_and_cuts(reply("200 OK", "", PAIR)) => Pair;
    a_pair_that_ends_with_its_connection_is_taken:
        says_and_closes(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{PAIR}"))
        => Pair;
    a_request_that_nobody_reads_is_not_sent_again:
        Attack::by(Script::wire(Tls::new(), async |wire| wire.reset())).before_request()
        => BROKEN;
    an_answer_before_the_request_is_not_waited_for_again: speaks_first(reply("200 OK", "", PAIR)) => BROKEN;
    a_farewell_before_the_request_is_not_answered_with_another_connection:
        Attack::by(Script::wire(Tls::new(), async |wire| wire.close().await)).before_request()
        => BROKEN;
}
