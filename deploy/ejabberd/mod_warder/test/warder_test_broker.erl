%%% A real nats-server on loopback for tests, ended with the process that started it.
-module(warder_test_broker).
-export([start/0, start/1, start/2, url/1, signal/2, stop/1, kill/1]).

start() -> start([]).
start(Arguments) -> start(Arguments, -1).

start(Arguments, WantedPort) ->
    Folder = string:trim(os:cmd("mktemp -d")),
    Binary = os:find_executable("nats-server", os:getenv("PATH") ++ ":/usr/local/sbin:/usr/sbin:/sbin"),
    All = ["-a", "127.0.0.1", "-p", integer_to_list(WantedPort), "--ports_file_dir", Folder | Arguments],
    %% Ends with this node, also when that is killed.
    Port = open_port({spawn_executable, os:find_executable("setpriv")}, [
        {args, ["--pdeathsig", "KILL", Binary | All]}, exit_status, stderr_to_stdout, binary
    ]),
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    File = filename:join(Folder, "nats-server_" ++ integer_to_list(Pid) ++ ".ports"),
    #{port => Port, pid => Pid, folder => Folder, number => await(File, 2000)}.

await(_File, 0) ->
    error(no_broker);
await(File, Times) ->
    case file:read_file(File) of
        {ok, <<"{", _/binary>> = Json} ->
            #{<<"nats">> := [Url | _]} = jiffy:decode(Json, [return_maps]),
            {match, [Number]} = re:run(Url, "([0-9]+)$", [{capture, all_but_first, list}]),
            list_to_integer(Number);
        _ ->
            timer:sleep(10),
            await(File, Times - 1)
    end.

url(#{number := Number}) -> "nats://127.0.0.1:" ++ integer_to_list(Number).

signal(#{pid := Pid}, Signal) -> os:cmd("kill -" ++ Signal ++ " " ++ integer_to_list(Pid)).

kill(Broker) -> finish(Broker, "KILL").
stop(Broker) -> finish(Broker, "TERM").

finish(#{port := Port, folder := Folder} = Broker, Signal) ->
    _ = signal(Broker, "CONT"),
    _ = signal(Broker, Signal),
    receive
        {Port, {exit_status, _}} -> ok
    after 5000 -> signal(Broker, "KILL")
    end,
    _ = file:del_dir_r(Folder),
    ok.
