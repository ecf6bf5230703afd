//! Makes the process's RSA key in advance.

use std::sync::Once;

use crate::auth::rsa;

/// Makes the [key](rsa::own_key) on another thread, since making it would block the loop. A caller
/// that needs the key before it is ready waits.
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
