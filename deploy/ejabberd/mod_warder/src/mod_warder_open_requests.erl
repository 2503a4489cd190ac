%%% Requests for a subscription that were let through and that the user has not answered yet, in a table of the cluster:
%%% his roster is only here while he is online, and not every source names them. Each is before him again at each login.
-module(mod_warder_open_requests).

-export([start/1, stop/1, reload/1]).
-export([keep/3, forget/2, is_open/2]).
%% For hooks.
-export([c2s_self_presence/1, remove_user/2]).

-include("logger.hrl").
-include("xmpp.hrl").

%% As the name of the table.
-record(warder_request, {
    user :: {LUser :: binary(), LServer :: binary()} | '_',
    contact :: binary() | '_',
    text = <<>> :: binary() | '_'
}).

%% Before the roster shows what is open.
-define(PRESENCE_SEQ, 55).
-define(REMOVE_SEQ, 50).

-type user() :: {LUser :: binary(), LServer :: binary()}.

-spec start(Host :: binary()) -> ok.
start(Host) ->
    ok = reload(Host),
    ejabberd_hooks:add(c2s_self_presence, Host, ?MODULE, c2s_self_presence, ?PRESENCE_SEQ),
    ejabberd_hooks:add(remove_user, Host, ?MODULE, remove_user, ?REMOVE_SEQ).

-spec stop(Host :: binary()) -> ok.
stop(Host) ->
    ejabberd_hooks:delete(c2s_self_presence, Host, ?MODULE, c2s_self_presence, ?PRESENCE_SEQ),
    ejabberd_hooks:delete(remove_user, Host, ?MODULE, remove_user, ?REMOVE_SEQ).

%% @doc There is a table where a host needs it.
-spec reload(Host :: binary()) -> ok.
reload(Host) ->
    Table = [{disc_only_copies, [node()]}, {type, bag}, {attributes, record_info(fields, warder_request)}],
    case is_on(Host) andalso ejabberd_mnesia:create(?MODULE, warder_request, Table) of
        false -> ok;
        {atomic, ok} -> ok;
        Error -> ?ERROR_MSG("Open requests for subscription cannot be stored: ~p", [Error])
    end.

%% @doc What cannot be stored is not before him again; nothing else fails by that.
-spec keep(user(), Contact :: binary(), Text :: binary()) -> ok.
keep(User, Contact, Text) ->
    ok = forget(User, Contact),
    stored(fun() -> mnesia:dirty_write(#warder_request{user = User, contact = Contact, text = Text}) end, ok).

-spec forget(user(), Contact :: binary()) -> ok.
forget(User, Contact) ->
    stored(fun() -> lists:foreach(fun mnesia:dirty_delete_object/1, open(User, Contact)) end, ok).

-spec is_open(user(), Contact :: binary()) -> boolean().
is_open(User, Contact) ->
    stored(fun() -> open(User, Contact) =/= [] end, false).

open(User, Contact) ->
    [Open || #warder_request{contact = Of} = Open <- mnesia:dirty_read(warder_request, User), Of =:= Contact].

stored(Do, Otherwise) ->
    try
        Do()
    catch
        exit:{aborted, Reason} ->
            ?ERROR_MSG("Open requests for subscription are not at hand: ~p", [Reason]),
            Otherwise
    end.

%% @private Who becomes available.
-spec c2s_self_presence({presence(), ejabberd_c2s:state()}) -> {presence(), ejabberd_c2s:state()}.
c2s_self_presence({_, #{pres_last := _}} = Acc) ->
    Acc;
c2s_self_presence({#presence{type = available}, #{jid := #jid{luser = LUser, lserver = LServer}}} = Acc) ->
    case is_on(LServer) andalso stored(fun() -> mnesia:dirty_read(warder_request, {LUser, LServer}) end, []) of
        [_ | _] = Open ->
            ok = take_up({LUser, LServer}, [{Contact, Text} || #warder_request{contact = Contact, text = Text} <- Open]),
            Acc;
        _ ->
            Acc
    end;
c2s_self_presence(Acc) ->
    Acc.

is_on(LServer) ->
    case mod_warder_hosts:find(LServer) of
        {ok, #{settings := #{roster := IsOn}}} -> IsOn;
        none -> false
    end.

take_up({LUser, LServer} = User, Requests) ->
    case mod_warder_roster:change(LUser, LServer, 0, fun(Roster) -> with_requests(Requests, Roster) end) of
        {ok, #{items := Items, given := Given}} ->
            lists:foreach(fun(Contact) -> forget(User, Contact) end, [
                Contact
             || {Contact, _} <- Requests, lists:member(Contact, Given) orelse is_let_in(Contact, Items)
            ]);
        none ->
            ok
    end.

%% Who has been let in meanwhile asks no more; what the source names is the source's from now on.
with_requests(Requests, #{items := Items, pending := Pending} = Roster) ->
    New = [
        Request
     || {Contact, _} = Request <- Requests, not is_map_key(Contact, Pending), not is_let_in(Contact, Items)
    ],
    lists:foldl(fun({Contact, Text}, Taken) -> mod_warder_roster_items:with_pending(Contact, Text, Taken) end, Roster, New).

is_let_in(Contact, Items) ->
    mod_warder_roster_items:may_see(maps:get(Contact, Items, none)).

%% @private
-spec remove_user(binary(), binary()) -> ok.
remove_user(User, Server) ->
    LServer = jid:nameprep(Server),
    case is_on(LServer) of
        true -> stored(fun() -> mnesia:dirty_delete(warder_request, {jid:nodeprep(User), LServer}) end, ok);
        false -> ok
    end.
