-- Reads parts of JIDs and writes what Prosody prepares them to: lua5.4 prosody.lua IN OUT
-- IN: for each a byte (0 node, 1 domain, 2 resource), its length in 4 bytes, and itself. OUT: length and text, or FFFFFFFF.
package.cpath = "/usr/lib/prosody/?.so;"..package.cpath;
local stringprep = require "util.encodings".stringprep;
local profiles = { [0] = stringprep.nodeprep, stringprep.nameprep, stringprep.resourceprep };

local input = assert(io.open(arg[1], "rb"));
local bytes = input:read("a");
input:close();

local output = assert(io.open(arg[2], "wb"));
output:setvbuf("full", 1024 * 1024);
local at = 1;
while at <= #bytes do
	local profile, text;
	profile, text, at = string.unpack(">Bs4", bytes, at);
	local prepared = profiles[profile](text);
	output:write(prepared and string.pack(">s4", prepared) or "\255\255\255\255");
end
output:close();
