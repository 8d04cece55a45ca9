"""Resources that somebody might ask for, as arguments of `fastapi-senior resource`.

Those of a project are added in this order: a later one may refer to an earlier one.
"""

from typing import Final

PROJECTS: Final[dict[str, list[str]]] = {
    "trade": [
        (
            "orders number:str:unique placed:date total:decimal:0..=0 status:open,paid,sent=open "
            "customer:users:optional --sort number,total --filter placed,total,status,customer_id "
            "--search number --count-by status --export"
        ),
        (
            "categories name:str:1..60:unique parent:categories:optional --sort name --filter "
            "parent_id --search name --public"
        ),
        (
            "purchase-orders order:orders supplier:str:..80 due:datetime:optional note:text= "
            "express:bool=false --sort supplier --filter order_id,due,express --search "
            "supplier,note"
        ),
        (
            "order-lines purchase_order:purchase-orders category:categories quantity:int:1..999=1 "
            "price:decimal:8.3:0.. --sort quantity --filter purchase_order_id,category_id,price"
        ),
        (
            "transfers source:orders:cascade target:orders:optional:set-null amount:decimal "
            "--filter source_id,target_id,amount"
        ),
    ],
    "words": [
        ("groups name select:str order:int=0 group:bool=true --sort order --filter group,select"),
        (
            "classes type:lecture,seminar user:users from_date:date count:int --count-by type "
            "--filter type,user_id,from_date,count --sort from_date,count"
        ),
        (
            "news-entries title:str:..120 json_data:json:optional table:str:optional "
            "index:int:optional --search title,table --filter table,index --export"
        ),
        (
            "addresses street city:str:1..1 zip_code:str:5..5 country:str:2..2 --filter country "
            "--sort zip_code"
        ),
        (
            "buses plate:str:1..10:unique user_id:users:unique end:datetime:unique values:text "
            "default:bool primary:email --sort end,primary --filter primary,end --no-tests"
        ),
    ],
    "types": [
        (
            "people email:email:unique site:url:unique ticket:uuid:unique born:date:unique "
            "score:int:unique rank:decimal:unique:5.2 seen:datetime:unique level:one,two:optional "
            "--sort email,born,score,rank,seen --filter email,ticket,born,score,rank,seen,level "
            "--search email,site"
        ),
        (
            "wide-tables a:str b:text c:int d:decimal e:bool f:date g:datetime h:email i:url "
            "j:uuid k:json level:one,two,three,four,five,six,seven,eight,nine,ten m:users --sort "
            "a,c,d,f,g,h --filter a,c,d,e,f,g,h,j,level,m_id --search a,b,h,i --count-by level "
            "--export"
        ),
        (
            "drafts a:str:optional b:text:optional c:int:optional d:decimal:optional "
            "e:bool:optional f:date:optional g:datetime:optional h:email:optional i:url:optional "
            "j:uuid:optional k:json:optional level:one,two:optional --filter "
            "a,c,d,e,f,g,h,j,level --search a,b,h,i --export"
        ),
        "switches on_state:bool --filter on_state",
        "memberships person:people",
    ],
    "bounds": [
        (
            "limits low:int:-9223372036854775808..9223372036854775807 high:int:7..8 "
            "tiny:decimal:1.1 none:decimal:15.0 all:decimal:15.15 one:str:1..1 long:str:..1000 "
            "huge:text:..100000 full:text:20..20 empty:str:0.. --sort "
            "low,high,tiny,none,all,one,long,empty --filter low,high,tiny,none,all,one,empty "
            "--search one,long,huge,full,empty --export"
        ),
        ("yes-no-answers answer:yes,no question:text --filter answer --public --export"),
        (
            "long-names-of-entries "
            "name_of_a_field_of_thirty_char:str:unique "
            "another_field_for_index_orders:date --sort "
            "another_field_for_index_orders --filter "
            "name_of_a_field_of_thirty_char"
        ),
        (
            "glasses previous:glasses:optional next:glasses:optional:unique name --sort name "
            "--filter previous_id,next_id --public"
        ),
        (
            "analyses glass:glasses:unique result:in-review,done,not-started=in-review "
            "at:datetime --filter glass_id,result,at --sort at --count-by result"
        ),
    ],
}
