%%% The delimiter of nested groups (XEP-0083): one for all users of a host, because the groups come from one place.
-module(mod_warder_delimiter).

-export([start/1, stop/1]).
-export([user_send_packet/1]).

-include("xmpp.hrl").

%% Before mod_private, which keeps one for each user, could be asked.
-define(SEQ, 40).
-define(NS_DELIMITER, <<"roster:delimiter">>).

-spec start(Host :: binary()) -> ok.
start(Host) ->
    ejabberd_hooks:add(user_send_packet, Host, ?MODULE, user_send_packet, ?SEQ).

-spec stop(Host :: binary()) -> ok.
stop(Host) ->
    ejabberd_hooks:delete(user_send_packet, Host, ?MODULE, user_send_packet, ?SEQ).

%% @private
-spec user_send_packet({stanza() | drop, ejabberd_c2s:state()}) ->
    {stanza() | drop, ejabberd_c2s:state()} | {stop, {drop, ejabberd_c2s:state()}}.
user_send_packet({#iq{type = Type, to = To, sub_els = [Query]} = Iq, #{jid := Jid, lserver := LServer} = State} = Acc)
    when Type =:= get; Type =:= set
->
    IsOwn = jid:tolower(To) =:= jid:tolower(jid:remove_resource(Jid)),
    case IsOwn andalso is_about_delimiter(Query) andalso delimiter(LServer) of
        Delimiter when is_binary(Delimiter) -> {stop, {drop, ejabberd_c2s:send(State, answer(Type, Iq, Delimiter))}};
        _ -> Acc
    end;
user_send_packet(Acc) ->
    Acc.

delimiter(LServer) ->
    case mod_warder_hosts:find(LServer) of
        {ok, #{settings := #{roster_delimiter := Delimiter}}} -> Delimiter;
        none -> undefined
    end.

is_about_delimiter(Query) ->
    Private = xmpp:encode(Query),
    xmpp:get_ns(Private) =:= ?NS_PRIVATE andalso
        case fxml:remove_cdata(Private#xmlel.children) of
            [#xmlel{name = <<"roster">>} = Roster] -> fxml:get_tag_attr_s(<<"xmlns">>, Roster) =:= ?NS_DELIMITER;
            _ -> false
        end.

answer(set, Iq, _Delimiter) ->
    xmpp:make_error(Iq, xmpp:err_not_allowed(<<"The delimiter is the same for everybody">>, Iq#iq.lang));
answer(get, Iq, Delimiter) ->
    Roster = #xmlel{name = <<"roster">>, attrs = [{<<"xmlns">>, ?NS_DELIMITER}], children = [{xmlcdata, Delimiter}]},
    xmpp:make_iq_result(Iq, #private{sub_els = [Roster]}).
