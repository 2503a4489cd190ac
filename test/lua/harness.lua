-- The smallest frame for tests of plain Lua: test(name, f), equal, check, and the end of the file decides the exit code.
-- Gives the libraries of mod_warder what they need of Prosody's module object: require.

local here = arg[0]:match("^(.*)/[^/]*$") or ".";
local root = here.."/../..";
local libraries = root.."/deploy/prosody/mod_warder/";

local harness = { root = root, here = here };

module = {};
function module.require(_, name)
	return assert(loadfile(libraries..name..".lib.lua"))();
end

local function show(value, depth)
	if type(value) ~= "table" or (depth or 0) > 4 then
		return type(value) == "string" and ("%q"):format(value) or tostring(value);
	end
	local keys, parts = {}, {};
	for key in pairs(value) do keys[#keys + 1] = key; end
	table.sort(keys, function (a, b) return tostring(a) < tostring(b); end);
	for _, key in ipairs(keys) do
		parts[#parts + 1] = (type(key) == "number" and "" or tostring(key).." = ")..show(value[key], (depth or 0) + 1);
	end
	return "{ "..table.concat(parts, ", ").." }";
end

local function same(a, b)
	if type(a) ~= "table" or type(b) ~= "table" then
		return a == b and math.type(a) == math.type(b);
	end
	for key, value in pairs(a) do if not same(value, b[key]) then return false; end end
	for key in pairs(b) do if a[key] == nil then return false; end end
	return true;
end

harness.same = same;

function harness.equal(actual, expected, what)
	if not same(actual, expected) then
		error((what and what..": " or "").."expected "..show(expected)..", got "..show(actual), 2);
	end
end

function harness.check(condition, what)
	if not condition then error(what or "it is not so", 2); end
end

local failed, passed = 0, 0;

function harness.test(name, run)
	local ok, err = xpcall(run, debug.traceback);
	if ok then
		passed = passed + 1;
	else
		failed = failed + 1;
		print("FAILED: "..name.."\n"..tostring(err));
	end
end

-- The last line of every file.
function harness.finish()
	print(("%d passed, %d failed"):format(passed, failed));
	os.exit(failed == 0 and passed > 0 and 0 or 1);
end

-- A fixed seed each, so that what fails once fails again.
function harness.random(seed)
	math.randomseed(seed);
	return math.random;
end

return harness;
