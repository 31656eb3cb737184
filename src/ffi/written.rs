//! Calls about a client apart from its messages: acknowledging in a batch, and giving it another token.

use super::handle::{CorelaneClient, CorelanePort};
use super::port::on;
use super::status::slice;
use crate::id::ClientId;

/// The part of a client's deliveries that the host has written.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneWritten {
    /// The client.
    pub client: CorelaneClient,
    /// Number of messages.
    pub messages: u32,
    /// Number of bytes.
    pub bytes: u32,
}

/// As `corelane_acknowledge` for each of `count` entries. Reads the clock once for all of them.
///
/// The port's thread. CORELANE_NULL, CORELANE_STALE (port), CORELANE_BUSY.
///
/// # Safety
/// `written` points at `count` structs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_acknowledge_batch(
    port: CorelanePort,
    written: *const CorelaneWritten,
    count: usize,
) -> i32 {
    on(port, |port| {
        // SAFETY: the caller upholds the same contract.
        let written = unsafe { slice("written", written, count) }?;
        let entry = |one: &CorelaneWritten| (ClientId(one.client.value), one.messages, one.bytes);
        port.acknowledge_batch(written.iter().map(entry));
        Ok(0)
    })
}

/// Gives a connected client another token. Events handed out after this call carry the new token. Deliveries that were
/// handed out before and are not acknowledged stay outstanding.
///
/// The port's thread. CORELANE_STALE (port; or the client is not connected or is leaving), CORELANE_INVALID (another
/// port's client: disconnect it there, then connect it here), CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_rebind(port: CorelanePort, client: CorelaneClient, token: u64) -> i32 {
    on(port, |port| {
        port.rebind(ClientId(client.value), token)?;
        Ok(0)
    })
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::super::port::{
        CORELANE_EVENT_MESSAGE, CORELANE_EVENT_UNDELIVERED, CORELANE_FAILED_CREDIT, CorelaneEvent, PORTS,
        corelane_connect, corelane_poll, corelane_port_release, corelane_publish, corelane_submit,
    };
    use super::super::status::{CORELANE_INVALID, CORELANE_NULL, CORELANE_OK, CORELANE_STALE};
    use super::*;
    use crate::config::Config;
    use crate::router::Builder;

    const MESSAGE: &[u8] = br#"{"type":"offer","to":"ben"}"#;

    fn connect(port: CorelanePort, name: &str, token: u64) -> CorelaneClient {
        let mut client = CorelaneClient::default();
        let (protocol, application) = ("generic", "");
        // SAFETY: each text is as long as its length says; `client` is a local variable.
        let status = unsafe {
            corelane_connect(
                port,
                name.as_ptr().cast(),
                name.len(),
                protocol.as_ptr().cast(),
                protocol.len(),
                application.as_ptr().cast(),
                0,
                token,
                &raw mut client,
                std::ptr::null_mut(),
            )
        };
        assert_eq!(status, CORELANE_OK);
        client
    }

    fn poll(port: CorelanePort) -> Vec<CorelaneEvent> {
        // SAFETY: all fields are integers and pointers, for which zero is valid.
        let mut events: [CorelaneEvent; 8] = unsafe { std::mem::zeroed() };
        events[0].size = size_of::<CorelaneEvent>() as u32;
        // SAFETY: the array has as many events as the call is told.
        let count = unsafe { corelane_poll(port, events.as_mut_ptr(), events.len()) };
        events[..count as usize].to_vec()
    }

    #[test]
    fn rebind_acknowledge_in_a_batch_and_be_told_of_a_refusal() {
        let config: Config = "workers=1\ncredit_policy=refuse\ncredit_messages=1".parse().unwrap();
        let (router, mut workers) = Builder::new(config).build().unwrap();
        let open = || CorelanePort { value: PORTS.insert(router.port().unwrap()).unwrap() };
        let (port, other) = (open(), open());
        let (ann, ben) = (connect(port, "ann", 1), connect(port, "ben", 2));
        let mut submit = |correlation| {
            // SAFETY: pointer and length are those of `MESSAGE`.
            let status = unsafe { corelane_submit(port, ann, MESSAGE.as_ptr(), MESSAGE.len(), correlation) };
            assert_eq!(status, CORELANE_OK);
            // SAFETY: the call has no requirements.
            assert_eq!(unsafe { corelane_publish(port) }, CORELANE_OK);
            workers[0].cycle(crate::clock::Stamp(0));
        };
        submit(7);
        submit(8);
        // SAFETY: the call has no requirements.
        let rebind = |port, client| unsafe { corelane_rebind(port, client, 20) };
        assert_eq!(rebind(port, ben), CORELANE_OK);
        assert_eq!(rebind(other, ben), CORELANE_INVALID);
        assert_eq!(rebind(port, CorelaneClient { value: 1 << 40 }), CORELANE_STALE);
        let events = poll(port);
        assert_eq!((events[0].kind, events[0].token, events[0].correlation), (CORELANE_EVENT_MESSAGE, 20, 7));
        let told = (events[1].kind, events[1].token, events[1].correlation, events[1].reason);
        assert_eq!(told, (CORELANE_EVENT_UNDELIVERED, 1, 8, CORELANE_FAILED_CREDIT));
        assert_eq!((events.len(), events[1].client, events[1].sender), (2, ann, ben));
        let written = [
            CorelaneWritten { client: CorelaneClient { value: 1 << 40 }, messages: 1, bytes: 1 },
            CorelaneWritten { client: ben, messages: 1, bytes: events[0].length as u32 },
        ];
        // SAFETY: the array has `count` entries, or the call refuses pointer or count before it reads.
        let acknowledge = |written, count| unsafe { corelane_acknowledge_batch(port, written, count) };
        assert_eq!(acknowledge(std::ptr::null(), 2), CORELANE_NULL);
        assert_eq!(acknowledge(written.as_ptr(), usize::MAX), CORELANE_INVALID);
        assert_eq!(acknowledge(std::ptr::null(), 0), CORELANE_OK);
        assert_eq!(acknowledge(written.as_ptr(), written.len()), CORELANE_OK);
        submit(9);
        assert_eq!(
            poll(port).first().map(|event| (event.kind, event.correlation)),
            Some((CORELANE_EVENT_MESSAGE, 9))
        );
        for port in [port, other] {
            // SAFETY: no view of the port is used afterwards.
            assert_eq!(unsafe { corelane_port_release(port) }, CORELANE_OK);
        }
        assert_eq!(rebind(port, ben), CORELANE_STALE);
    }
}
