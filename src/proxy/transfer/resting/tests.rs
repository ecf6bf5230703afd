use proptest::prelude::*;

use super::*;

fn counted() -> impl Strategy<Value = Option<Counted>> {
    let list = proptest::collection::vec(any::<(u32, u16)>(), 0..20);
    let one = (list, any::<Option<u32>>()).prop_map(|(params, last)| Counted { params, last });
    proptest::option::of(one)
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    any::<u64>().prop_map(Capabilities::from_bits_retain)
}

fn address() -> impl Strategy<Value = Address> {
    prop_oneof![
        Just(Address::Local),
        any::<IpAddr>().prop_map(Address::Ip),
        "[a-z/]{1,20}".prop_map(|name| Address::from(&*name)),
    ]
}

fn end(is_client: bool) -> BoxedStrategy<RestingEnd> {
    if is_client {
        let parts = (capabilities(), any::<u8>(), counted());
        return parts
            .prop_map(|(capabilities, eofs_due, statements)| {
                RestingEnd::Client(RestingClient {
                    capabilities,
                    eofs_due,
                    statements,
                })
            })
            .boxed();
    }
    let parts = (capabilities(), capabilities(), counted(), any::<u16>());
    parts
        .prop_map(|(capabilities, really_offered, statements, status)| {
            RestingEnd::Server(RestingServer {
                capabilities,
                really_offered,
                statements,
                status: Status::from_bits_retain(status),
            })
        })
        .boxed()
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..30)
}

fn leg(is_client: bool) -> impl Strategy<Value = Leg> {
    let first = (end(is_client), address(), any::<u16>(), any::<u8>());
    let second = (
        any::<u32>(),
        proptest::option::of(bytes()),
        proptest::option::of((bytes(), bytes())),
        any::<(u64, u64)>(),
        any::<(u64, u64, u32)>(),
    );
    (first, second).prop_map(
        |((end, address, port, level), (age, place, login, bytes, limits))| Leg {
            end,
            address,
            port,
            level,
            age: Duration::from_millis(age.into()),
            place,
            login,
            bytes,
            limits: (limits.0, limits.1, Duration::from_millis(limits.2.into())),
        },
    )
}

fn pair() -> impl Strategy<Value = Pair> {
    (
        ("[a-z0-9.:*/]{0,20}", any::<u16>()),
        leg(true),
        proptest::option::of(leg(false)),
        proptest::option::of(bytes()),
        any::<Option<SocketAddr>>().prop_map(|address| {
            // Flow labels and scopes are no part of an address as text.
            address.map(|address| SocketAddr::new(address.ip(), address.port()))
        }),
        bytes(),
    )
        .prop_map(|(listener, client, server, user, destination, text)| Pair {
            listener,
            client,
            server,
            user,
            destination,
            text,
        })
}

proptest! {
    #[test]
    fn a_pair_is_read_as_it_was_written(pair in pair()) {
        let mut bytes = pair.write().unwrap();
        prop_assert_eq!(&Pair::read(&bytes).unwrap(), &pair);
        // A field of a newer program.
        bytes.extend_from_slice(&[200, 3, 0, 0, 0, b'n', b'e', b'w']);
        prop_assert_eq!(&Pair::read(&bytes).unwrap(), &pair);
        // What ends too early.
        for end in 0..bytes.len() {
            if let Ok(read) = Pair::read(&bytes[..end]) {
                prop_assert_eq!(read.listener, pair.listener.clone());
            }
        }
    }

    #[test]
    fn damage_is_no_panic(pair in pair(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut bytes = pair.write().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = with;
        let _ = Pair::read(&bytes);
    }

    #[test]
    fn any_bytes_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Pair::read(&bytes);
        let _ = Pair::read(&[MARK, &[VERSION], &bytes].concat());
    }
}

#[test]
fn a_newer_version_is_refused() {
    let bytes = [MARK, &[VERSION + 1], b""].concat();
    assert!(matches!(Pair::read(&bytes), Err(Unreadable::Newer { .. })));
    assert_eq!(Pair::read(b"something else"), Err(Unreadable::Other));
}
