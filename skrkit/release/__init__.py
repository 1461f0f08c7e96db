"""The release of a key: request, signed response, key_hsm envelope, unwrap, flow."""
