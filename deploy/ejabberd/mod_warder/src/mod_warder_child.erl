%%% One process a host for a part that wants one, under ejabberd's supervisor of modules: a gen_server whose init/1 gets
%%% the host. Knows no part.
-module(mod_warder_child).

-export([start/2, stop/2, process/2]).

-define(SUPERVISOR, ejabberd_gen_mod_sup).

-spec start(module(), Host :: binary()) -> ok.
start(Module, Host) ->
    Start = {gen_server, start_link, [{local, process(Module, Host)}, Module, Host, []]},
    {ok, _} = supervisor:start_child(?SUPERVISOR, #{id => {Module, Host}, start => Start, modules => [Module]}),
    ok.

-spec stop(module(), Host :: binary()) -> ok.
stop(Module, Host) ->
    _ = supervisor:terminate_child(?SUPERVISOR, {Module, Host}),
    _ = supervisor:delete_child(?SUPERVISOR, {Module, Host}),
    ok.

%% @doc Its name, on each node.
-spec process(module(), Host :: binary()) -> atom().
process(Module, Host) ->
    gen_mod:get_module_proc(Host, Module).
