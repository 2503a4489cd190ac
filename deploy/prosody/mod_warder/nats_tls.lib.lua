-- TLS towards a broker: the context, and the proof that the certificate is that of the host that was meant.
--
-- local context, err = tls.new_context { ca_file = , cert_file = , key_file = }
-- tls.verify(socket, hostname) -> true, or nil, text        after the handshake, which has verified the chain already

local ssl = require "ssl";
local x509 = require "util.x509";
local inet_pton = require "util.net".pton;

local ipairs = ipairs;

local subject_alternative_name = "2.5.29.17";

local function new_context(options)
	return ssl.newcontext {
		mode = "client";
		protocol = "any";
		options = { "all", "no_sslv2", "no_sslv3", "no_tlsv1", "no_tlsv1_1" };
		verify = { "peer", "fail_if_no_peer_cert" };
		depth = 9;
		cafile = options.ca_file;
		-- Without a CA of its own, a broker is trusted as any web server is.
		capath = not options.ca_file and "/etc/ssl/certs" or nil;
		certificate = options.cert_file;
		key = options.key_file;
	};
end

-- util.x509 compares names only; brokers are often configured by address.
local function has_address(certificate, address)
	local names = certificate:extensions()[subject_alternative_name];
	for _, listed in ipairs(names and names.iPAddress or {}) do
		if inet_pton(listed) == address then return true; end
	end
	return false;
end

local function verify(socket, hostname)
	local certificate = socket.getpeercertificate and socket:getpeercertificate();
	if not certificate then return nil, "the server has no certificate"; end
	local address = inet_pton(hostname);
	if address and has_address(certificate, address) or not address and x509.verify_identity(hostname, nil, certificate) then
		return true;
	end
	return nil, "the server's certificate is not for "..hostname;
end

return { new_context = new_context, verify = verify };
