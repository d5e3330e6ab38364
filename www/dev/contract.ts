// Stand-in for the types of skylark-mq/tab until the package is on main. Development only; removed then.
import type { Client, ConnectOptions } from "skylark-mq";
export interface TabCluster extends AsyncDisposable { connect(options?: ConnectOptions): Promise<Client>; port(): MessagePort; close(): Promise<void> }
export declare function startTabCluster(options?: { name?: string; autoCreateTopic?: boolean }): Promise<TabCluster>;
