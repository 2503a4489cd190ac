-- A Prosody to try Warder with: no encryption, accounts on `localhost`, rooms on `rooms.localhost`.
-- For one in use see deploy/prosody/mod_warder/README.md.
plugin_paths = { "/usr/local/lib/prosody/modules" }
pidfile = "/tmp/prosody.pid"
data_path = "/var/lib/prosody"
log = { info = "*console" }

interfaces = { "*" }
c2s_ports = { 5222 }
s2s_ports = {}
http_ports = {}
https_ports = {}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_hashed"

modules_enabled = { "saslauth", "roster", "disco", "ping", "carbons", "mam", "blocklist", "warder" }
modules_disabled = { "s2s" }

warder_nats_url = "nats://nats:4222"

VirtualHost "localhost"
warder_roster = true

Component "rooms.localhost" "muc"
modules_enabled = { "warder" }
