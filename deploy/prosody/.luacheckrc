std = "lua54"
max_line_length = 140
-- What Prosody puts into the environment of every module.
read_globals = { "module", "prosody", "hosts" }
files["mod_warder/mod_warder.lua"] = {
	globals = { "module" };
}
