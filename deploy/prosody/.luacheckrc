std = "lua54"
max_line_length = 140
-- What Prosody puts into the environment of every module; a module writes its own unload() and the like into it.
globals = { "module" }
-- A configuration, whose words Prosody defines as it reads it.
exclude_files = { "deploy/compose/prosody/prosody.cfg.lua" }
read_globals = { "prosody", "hosts" }
