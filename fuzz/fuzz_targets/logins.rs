//! Greetings, auth packets, COM_CHANGE_USER, and what methods of authentication answer to any data.
#![no_main]

use dpm::auth::{Claim, Credential, Login, PLUGINS};
use dpm::wire::{Capabilities, ChangeUser, read_attributes, write_attributes};
use dpm_fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    dpm_fuzz::packets::logins(data);
    if let Ok(packet) = ChangeUser::decode(data) {
        let command = packet.command(Capabilities::USUAL | Capabilities::CONNECT_ATTRS);
        let again = ChangeUser::decode(&command.argument).expect("what was encoded");
        assert_eq!(
            (&again.user, &again.database),
            (&packet.user, &packet.database)
        );
        assert_eq!(again.auth_response, packet.auth_response);
    }
    if let Ok(attributes) = read_attributes(data) {
        let pairs = attributes.iter().map(|one| (&one.0[..], &one.1[..]));
        assert_eq!(
            read_attributes(&write_attributes(pairs)).as_ref(),
            Ok(&attributes)
        );
    }
    let mut input = Input::new(data);
    let (which, secure) = (input.u8(), input.u8() & 1 == 1);
    let count = usize::from(input.u8());
    let nonce = input.bytes(count);
    let count = usize::from(input.u8());
    let said = input.bytes(count);
    let plugin = PLUGINS[usize::from(which) % PLUGINS.len()];
    let login = Login {
        password: b"secret",
        nonce,
        secure,
        tls: secure,
        server_key: None,
        allow_cleartext: secure,
    };
    let _ = plugin.answer(&login);
    let _ = plugin.more(&login, said, input.rest());
    if plugin.verifies() {
        let credential = Credential::password(b"secret");
        let claim = Claim {
            credential: &credential,
            nonce,
            // Without TLS a key of this process would be made, which takes long.
            secure: true,
            key: None,
        };
        let _ = plugin.check(&claim, said, input.rest());
    }
    let _ = Credential::parse(data).and_then(|credential| credential.print());
});
