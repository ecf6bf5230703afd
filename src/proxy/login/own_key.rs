//! The RSA key of the process, made in time.

use std::sync::Once;

use crate::auth::rsa;

/// Has the [key](rsa::own_key) made beside the loop, which it would hold up: it may be wanted soon.
/// Who wants it before it is there waits for it.
pub fn prepare_own_key() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let made = std::thread::Builder::new()
            .name("rsa key".to_string())
            .spawn(|| rsa::own_key().map(|_| ()));
        if let Err(error) = made {
            log::debug!("the RSA key is made when it is asked for: {error}");
        }
    });
}
