%%% For the bench only: asks an HTTP service about each message that a client sends, and waits for its answer in the
%%% client's process, as mod_msg_filter does where it remembers nothing. Denies nothing: what is not allowed is a crash.
-module(mod_http_check).
-behaviour(gen_mod).

-export([start/2, stop/1, depends/2, mod_opt_type/1, mod_options/1, mod_doc/0]).
-export([user_send_packet/1]).

-define(TIMEOUT_MS, 10000).
%% As many connections as clients that send at once, so that none waits for another one's answer.
-define(MAX_SESSIONS, 64).
-define(PRIORITY, 40).

start(Host, _Options) ->
    {ok, _} = application:ensure_all_started(inets),
    ok = httpc:set_options([{max_sessions, ?MAX_SESSIONS}, {max_keep_alive_length, 1}]),
    ejabberd_hooks:add(user_send_packet, Host, ?MODULE, user_send_packet, ?PRIORITY).

stop(Host) ->
    ejabberd_hooks:delete(user_send_packet, Host, ?MODULE, user_send_packet, ?PRIORITY).

depends(_Host, _Options) -> [].

mod_opt_type(url) -> econf:string().

mod_options(_Host) -> [url].

mod_doc() -> #{}.

user_send_packet({Packet, _State} = Acc) when element(1, Packet) =:= message ->
    From = xmpp:get_from(Packet),
    To = xmpp:get_to(Packet),
    Url = [url(jid:encode(jid:remove_resource(From))), "&to=", escaped(jid:encode(jid:remove_resource(To)))],
    {ok, {{_, 200, _}, _, <<"<status value=\"allowed\">", _/binary>>}} =
        httpc:request(get, {lists:flatten(Url), []}, [{timeout, ?TIMEOUT_MS}], [{body_format, binary}]),
    Acc;
user_send_packet(Acc) ->
    Acc.

url(From) ->
    [Host | _] = ejabberd_option:hosts(),
    [gen_mod:get_module_opt(Host, ?MODULE, url), "?from=", escaped(From)].

escaped(Jid) ->
    uri_string:quote(binary_to_list(Jid)).
