%%% Accounts whose removal the workers have not acknowledged, in a file of this node, so that a restart loses none. A file
%%% beside Mnesia's and no table of it: a node that joins a cluster drops its tables, and what this node keeps no other
%%% tells. Knows nothing of who is told, and never raises: what cannot be stored is told nevertheless.
-module(mod_warder_removals).

-export([open/0, close/0, store/3, forget/1, sync/0, of_host/1]).
-export_type([id/0]).

-include("logger.hrl").

%% What the workers know one removal by, however often they are told of it.
-type id() :: binary().

-define(TABLE, mod_warder_removals).
-define(FILE_NAME, "warder_removals.dets").

%% @doc Each process that calls this has to call {@link close/0}.
-spec open() -> ok.
open() ->
    File = filename:join(mnesia:system_info(directory), ?FILE_NAME),
    case dets:open_file(?TABLE, [{file, File}]) of
        {ok, ?TABLE} ->
            ok;
        {error, {not_a_dets_file, _}} ->
            Aside = File ++ ".broken",
            ?ERROR_MSG("~ts is no file of removed accounts; it is kept as ~ts", [File, Aside]),
            new_file(File, file:rename(File, Aside));
        {error, Reason} ->
            without(File, Reason)
    end.

new_file(File, ok) ->
    case dets:open_file(?TABLE, [{file, File}]) of
        {ok, ?TABLE} -> ok;
        {error, Reason} -> without(File, Reason)
    end;
new_file(File, {error, Reason}) ->
    without(File, Reason).

without(File, Reason) ->
    ?ERROR_MSG("Removals cannot be stored in ~ts, so a restart would lose them: ~p", [File, Reason]).

-spec close() -> ok.
close() ->
    _ = dets:close(?TABLE),
    ok.

%% @doc On disk once {@link sync/0} has come back.
-spec store(id(), LUser :: binary(), LServer :: binary()) -> ok.
store(Id, LUser, LServer) ->
    try dets:insert(?TABLE, {Id, LServer, LUser}) of
        ok -> ok;
        {error, Reason} -> not_stored(LUser, LServer, Reason)
    catch
        error:badarg -> not_stored(LUser, LServer, closed)
    end.

not_stored(LUser, LServer, Reason) ->
    ?ERROR_MSG("The removal of ~ts@~ts could not be stored, so a restart would lose it: ~p", [LUser, LServer, Reason]).

-spec forget(id()) -> ok.
forget(Id) ->
    try
        ok = dets:delete(?TABLE, Id)
    catch
        error:Reason -> ?ERROR_MSG("A removal could not be deleted, so a restart would repeat it: ~p", [Reason])
    end.

-spec sync() -> ok.
sync() ->
    try
        ok = dets:sync(?TABLE)
    catch
        error:Reason -> ?ERROR_MSG("The removals that were stored may be lost: ~p", [Reason])
    end.

-spec of_host(LServer :: binary()) -> [{id(), LUser :: binary()}].
of_host(LServer) ->
    try dets:match(?TABLE, {'$1', LServer, '$2'}) of
        Found when is_list(Found) -> [{Id, LUser} || [Id, LUser] <- Found];
        {error, Reason} -> unreadable(Reason)
    catch
        error:Reason -> unreadable(Reason)
    end.

unreadable(Reason) ->
    ?ERROR_MSG("Removals that were not acknowledged could not be read: ~p", [Reason]),
    [].
