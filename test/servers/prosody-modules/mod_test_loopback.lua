-- Stands in for DNS between Prosodies on loopback: the option test_loopback_peers says on which port each host listens.

module:set_global();

local manual = require "net.resolvers.manual";
local service = require "net.resolvers.service";

local peers = module:get_option("test_loopback_peers", {});
local original = service.new;

function service.new(hostname, name, conn_type, extra)
	local port = peers[hostname];
	if not port then return original(hostname, name, conn_type, extra); end
	return manual.new({ { conn_type.."4", "127.0.0.1", port, extra } }, conn_type, extra);
end

function module.unload()
	service.new = original;
end
