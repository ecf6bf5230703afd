-- TLS on the clients' side, none on the server's. arg: its host and port, certificate and key.
require "link" (nil, { tls = { cert = arg[3], key = arg[4] } })
