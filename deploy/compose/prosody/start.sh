#!/bin/sh
# Makes the accounts of the demonstration, then becomes Prosody.
set -eu
config=${PROSODY_CONFIG:-/etc/prosody/prosody.cfg.lua}
for name in alice bob mallory; do
  prosodyctl --config "$config" register "$name" localhost "$name" >/dev/null
done
exec prosody -F --config "$config"
