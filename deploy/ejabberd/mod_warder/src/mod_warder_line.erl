%%% Stanzas of one sender, in line, where many senders share a process: an external component's, or another server's stream.
%%% What waits for an answer there would hold up all of them. Here each sender has a process of its own, for as long as it has
%%% something to route, in order.
%%%
%%% Whoever brings more than is kept for him waits himself, and so does, behind its socket, the other side.
-module(mod_warder_line).

-export([start/1, stop/1]).
-export([component_send_packet/1, s2s_receive_packet/1]).

-include("xmpp.hrl").

%% Of one component or stream.
-define(MAX_WAITING, 256).
-define(CLOSED, -1000000000).
%% Behind all that may change or stop the stanza.
-define(PRIORITY, 100).

%% In the dictionary of the process that brings the stanzas.
-record(lines, {
    %% How many of its stanzas are in line.
    waiting = atomics:new(1, []) :: atomics:atomics_ref(),
    senders = #{} :: #{{binary(), binary()} => line()}
}).
%% The number counts what the process has yet to route, and is far below zero when it takes nothing more.
-type line() :: {pid(), atomics:atomics_ref()}.

-spec start(binary()) -> ok.
start(Host) ->
    ejabberd_hooks:add(s2s_receive_packet, Host, ?MODULE, s2s_receive_packet, ?PRIORITY).

-spec stop(binary()) -> ok.
stop(Host) ->
    ejabberd_hooks:delete(s2s_receive_packet, Host, ?MODULE, s2s_receive_packet, ?PRIORITY).

%% @doc What an external component sends. Of the whole node.
-spec component_send_packet({stanza() | drop, State}) -> {stanza() | drop, State}.
component_send_packet({drop, _State} = Dropped) ->
    Dropped;
component_send_packet({Stanza, State}) ->
    #jid{lserver = Domain} = xmpp:get_to(Stanza),
    case mod_warder_hosts:find(Domain) =/= none orelse mod_warder_rooms:server_host(Domain) =/= none of
        true -> s2s_receive_packet({Stanza, State});
        false -> {Stanza, State}
    end.

%% @doc What another server sends.
-spec s2s_receive_packet({stanza() | drop, State}) -> {stanza() | drop, State}.
s2s_receive_packet({drop, _State} = Dropped) ->
    Dropped;
s2s_receive_packet({Stanza, State}) ->
    #lines{waiting = Waiting} = Lines = lines(),
    Route =
        case atomics:add_get(Waiting, 1, 1) of
            N when N > ?MAX_WAITING -> fun call/2;
            _ -> fun cast/2
        end,
    _ = put(?MODULE, hand_over(Stanza, Route, Lines)),
    {drop, State}.

lines() ->
    case get(?MODULE) of
        undefined -> #lines{};
        Lines -> Lines
    end.

hand_over(Stanza, Route, #lines{waiting = Waiting, senders = Senders} = Lines) ->
    #jid{luser = User, lserver = Server} = xmpp:get_from(Stanza),
    Sender = {User, Server},
    case Senders of
        #{Sender := {Pid, Left}} ->
            case is_process_alive(Pid) andalso atomics:add_get(Left, 1, 1) of
                N when is_integer(N), N > 0 ->
                    ok = Route(Pid, Stanza),
                    Lines;
                _ ->
                    %% Who was killed has not closed, and what he had is lost.
                    Lost = max(0, atomics:exchange(Left, 1, ?CLOSED)),
                    atomics:sub(Waiting, 1, Lost),
                    hand_over(Stanza, Route, Lines#lines{senders = maps:remove(Sender, Senders)})
            end;
        _ ->
            Left = atomics:new(1, []),
            ok = atomics:put(Left, 1, 1),
            Pid = spawn(fun() -> route(Left, Waiting) end),
            ok = Route(Pid, Stanza),
            Lines#lines{senders = (open(Senders))#{Sender => {Pid, Left}}}
    end.

%% No more of them can be open than there are stanzas in line.
open(Senders) when map_size(Senders) < 2 * ?MAX_WAITING ->
    Senders;
open(Senders) ->
    maps:filter(fun(_Sender, {_Pid, Left}) -> atomics:get(Left, 1) > 0 end, Senders).

cast(Pid, Stanza) ->
    Pid ! {route, Stanza},
    ok.

call(Pid, Stanza) ->
    Monitor = monitor(process, Pid, [{alias, reply_demonitor}]),
    Pid ! {route, Stanza, Monitor},
    receive
        {Monitor, routed} -> ok;
        {'DOWN', Monitor, process, Pid, _Reason} -> ok
    end.

route(Left, Waiting) ->
    receive
        {route, Stanza} ->
            ejabberd_router:route(Stanza),
            atomics:sub(Waiting, 1, 1);
        {route, Stanza, Alias} ->
            ejabberd_router:route(Stanza),
            atomics:sub(Waiting, 1, 1),
            Alias ! {Alias, routed}
    end,
    case atomics:compare_exchange(Left, 1, 1, ?CLOSED) of
        ok ->
            ok;
        _ ->
            atomics:sub(Left, 1, 1),
            route(Left, Waiting)
    end.
