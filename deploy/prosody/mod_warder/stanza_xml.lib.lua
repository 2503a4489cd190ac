-- XML that came in an answer, turned into what may be sent to a client, or into nothing.
-- Everything in an answer is foreign text: whatever is not exactly right is refused here, and nothing here raises.
--
-- stanza_xml.stanza(text) -> stanza, or nil
-- stanza_xml.error(text) -> { type, condition, text, element } of a whole stanza error, or nil
-- stanza_xml.is_text(text) -> whether it may stand in XML as it is

local st = require "util.stanza";
local xml = require "util.xml";
local valid_utf8 = require "util.encodings".utf8.valid;

local xmlns_stanzas = "urn:ietf:params:xml:ns:xmpp-stanzas";
local max_bytes = 256 * 1024;
-- What nests deeper would overrun the stack of whoever walks it.
local max_depth = 64;

local stream_namespaces = { ["jabber:client"] = true, ["jabber:server"] = true, ["jabber:component:accept"] = true };
local stanza_names = { message = true, presence = true, iq = true };
local error_types = { auth = true, cancel = true, continue = true, modify = true, wait = true };

-- RFC 6120, section 8.3.3.
local conditions = {};
for name in ([[bad-request conflict feature-not-implemented forbidden gone internal-server-error item-not-found jid-malformed
	not-acceptable not-allowed not-authorized policy-violation recipient-unavailable redirect registration-required
	remote-server-not-found remote-server-timeout resource-constraint service-unavailable subscription-required
	undefined-condition unexpected-request]]):gmatch("%S+") do
	conditions[name] = true;
end

-- Stanzas inside Prosody carry no namespace of their own, whichever stream they came by.
-- False when it nests too deep.
local function without_stream_namespace(element, depth)
	if depth > max_depth then return false; end
	if stream_namespaces[element.attr.xmlns] then element.attr.xmlns = nil; end
	for _, child in ipairs(element.tags) do
		if not without_stream_namespace(child, depth + 1) then return false; end
	end
	return true;
end

local function parse(text)
	if type(text) ~= "string" or #text > max_bytes or not valid_utf8(text) then return nil; end
	local ok, element = pcall(xml.parse, text);
	if not ok or not st.is_stanza(element) or not without_stream_namespace(element, 1) then return nil; end
	return element;
end

local function parse_stanza(text)
	local stanza = parse(text);
	if not stanza or not stanza_names[stanza.name] or stanza.attr.xmlns then return nil; end
	return stanza;
end

local function parse_error(text)
	local element = parse(text);
	if not element or element.name ~= "error" or element.attr.xmlns or not error_types[element.attr.type] then return nil; end
	local condition, described;
	for _, child in ipairs(element.tags) do
		if child.attr.xmlns == xmlns_stanzas then
			if child.name == "text" then
				if described then return nil; end
				described = child:get_text();
			elseif condition or not conditions[child.name] then
				return nil;
			else
				condition = child.name;
			end
		end
	end
	if not condition then return nil; end
	return { type = element.attr.type, condition = condition, text = described, element = element };
end

local function is_text(text)
	return type(text) == "string" and valid_utf8(text) and not text:find("[^\9\10\13\32-\255]");
end

return {
	stanza = parse_stanza;
	error = parse_error;
	is_text = is_text;
	error_types = error_types;
	conditions = conditions;
};
