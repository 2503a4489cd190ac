%%% One host's last known rosters on this node's disk: a file of its own beside Mnesia's and no table of it. A table of
%%% Mnesia's that cannot be read keeps the node from starting, and one that has to be repaired holds up its start.
%%% Knows nothing of what a roster is, and never raises: what is damaged is put aside, and nothing is known then.
-module(mod_warder_roster_file).

-export([open/2, close/1, remove/1]).
-export([lookup/2, insert/2, delete/2, sync/1]).
-export_type([row/0]).

-include("logger.hrl").

%% dets ends at 2 GB. Who is in the file already is replaced up to there; others find no room from here on.
-define(ROOM_BYTES, 1_610_612_736).

%% `gone': the account was removed then, in milliseconds of the system's time.
-type row() :: {LUser :: binary(), At :: integer(), Checksum :: non_neg_integer(), Packed :: binary()}
    | {LUser :: binary(), At :: integer(), gone}.

%% @doc Takes as long as it takes to repair the file of a node that was killed; one that was found damaged is repaired
%% whatever it says of itself. The caller has to close it.
-spec open(Host :: binary(), closed | damaged) -> ok | error.
open(Host, State) ->
    File = path(Host),
    case open_file(Host, File, State) of
        ok ->
            ok;
        {error, {file_error, _, Reason}} ->
            without(File, Reason);
        {error, Reason} ->
            Aside = File ++ ".broken",
            ?ERROR_MSG("~ts holds no rosters any more (~p); it is kept as ~ts", [File, Reason, Aside]),
            case file:rename(File, Aside) =:= ok andalso open_file(Host, File, closed) of
                ok -> ok;
                _ -> without(File, Reason)
            end
    end.

open_file(Host, File, State) ->
    Repair =
        case State of
            closed -> true;
            damaged -> force
        end,
    try dets:open_file(table(Host), [{file, File}, {repair, Repair}]) of
        {ok, _} -> ok;
        Error -> Error
    catch
        Class:Reason -> {error, {Class, Reason}}
    end.

without(File, Reason) ->
    ?ERROR_MSG("No last known rosters are kept in ~ts: ~p", [File, Reason]),
    error.

-spec close(Host :: binary()) -> ok.
close(Host) ->
    _ = catch dets:close(table(Host)),
    ok.

%% @doc Forgets them all.
-spec remove(Host :: binary()) -> ok.
remove(Host) ->
    ok = close(Host),
    case file:delete(path(Host)) of
        ok -> ok;
        {error, enoent} -> ok;
        {error, Reason} -> ?ERROR_MSG("~ts still holds rosters; it cannot be deleted: ~p", [path(Host), Reason])
    end.

%% Each host's table has its own name and file. A domain may stand for nothing else in the name of a file.
table(Host) -> {?MODULE, Host}.

path(Host) ->
    Name = "warder_rosters." ++ binary_to_list(uri_string:quote(Host)) ++ ".dets",
    filename:join(mnesia:system_info(directory), Name).

%% @doc Also for others than who has opened it.
-spec lookup(Host :: binary(), LUser :: binary()) -> {ok, row()} | none | {error, term()}.
lookup(Host, LUser) ->
    try dets:lookup(table(Host), LUser) of
        [Row] -> {ok, Row};
        [] -> none;
        {error, Reason} -> {error, Reason}
    catch
        _:Reason -> {error, Reason}
    end.

%% @doc On disk some seconds later, or once {@link sync/1} has come back. `full': there is no room for another user.
-spec insert(Host :: binary(), row()) -> ok | full | {error, term()}.
insert(Host, Row) ->
    Table = table(Host),
    try
        case dets:info(Table, file_size) < ?ROOM_BYTES orelse dets:member(Table, element(1, Row)) of
            true -> dets:insert(Table, Row);
            false -> full;
            Error -> Error
        end
    catch
        _:Reason -> {error, Reason}
    end.

-spec delete(Host :: binary(), LUser :: binary()) -> ok | {error, term()}.
delete(Host, LUser) ->
    try
        dets:delete(table(Host), LUser)
    catch
        _:Reason -> {error, Reason}
    end.

-spec sync(Host :: binary()) -> ok | {error, term()}.
sync(Host) ->
    try
        dets:sync(table(Host))
    catch
        _:Reason -> {error, Reason}
    end.
