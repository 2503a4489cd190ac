%%% What a host's rosters cost: the questions for them and what became of the answers, since its module has started.
-module(mod_warder_roster_counts).

-export([start/1, stop/1, count/2, read/1]).
-export_type([name/0]).

%% `older': answers that came behind a newer one. `retries': of those asked, the ones after a failure or an answer that
%% came too soon. `unkept': what could not be kept as last known.
-define(COUNTED, [asked, applied, older, retries, unkept]).

-type name() :: asked | applied | older | retries | unkept.

%% @doc Goes on where it is counting already.
-spec start(Host :: binary()) -> ok.
start(Host) ->
    case persistent_term:get({?MODULE, Host}, none) of
        none -> persistent_term:put({?MODULE, Host}, counters:new(length(?COUNTED), []));
        _ -> ok
    end.

-spec stop(Host :: binary()) -> ok.
stop(Host) ->
    _ = persistent_term:erase({?MODULE, Host}),
    ok.

%% @doc Counts one more. Nobody counts for a host that was stopped meanwhile.
-spec count(Host :: binary(), name()) -> ok.
count(Host, Name) ->
    case persistent_term:get({?MODULE, Host}, none) of
        none -> ok;
        Counters -> counters:add(Counters, index(Name, ?COUNTED), 1)
    end.

index(Name, [Name | _]) -> 1;
index(Name, [_ | Names]) -> 1 + index(Name, Names).

-spec read(Host :: binary()) -> #{name() => non_neg_integer()}.
read(Host) ->
    case persistent_term:get({?MODULE, Host}, none) of
        none -> #{};
        Counters -> maps:from_list([{Name, counters:get(Counters, index(Name, ?COUNTED))} || Name <- ?COUNTED])
    end.
